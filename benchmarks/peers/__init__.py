"""The peers, one file each. A peer is a class `Peer(variant, threads)`; a method named for a kernel
prepares its data and returns a function of no arguments that does the work once, waits for it and
returns the result. `Peer.digest(result)` gives it as a list of NumPy arrays, to compare peers.

A kernel that a peer has no method for is reported as not offered.

lenet_step(batch)                     one SGD step of the tutorial's LeNet; returns the cost
lenet_forward(batch)                  class probabilities
network_step(sizes, batch)            one SGD step of a tanh network; two sizes: logistic regression
lstm_step(steps, batch, inputs, units)    one SGD step of an LSTM, softmax on its last state
conv_forward(n, c, size, o, k, stride, pad)    convolution of images (n, c, size, size) with
                                      filters (o, c, k, k); conv_grad_weights, conv_grad_inputs
gemm(m, k, n, ta, tb, dtype)          product (m, k) by (k, n); ta, tb: kept transposed
stream(n)                             c = a + b in place, n float32: for the memory bandwidth
chain(n)                              tanh(x / 2 + 1/4) * x
reduction(kind, rows, columns)        kind: sum, max, of all; sum of axis 0, of axis 1
cross_entropy(rows, classes)          mean cost and its gradient by the logits
pool(n, c, size, gradient)            2x2 max pooling; with `gradient`, also that by the images
add_scalars()                         two float64 scalars
deep_chain(links), deep_network(layers)        graphs of many nodes: first calls are compile time
"""
