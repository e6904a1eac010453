"""LeNet as in the Theano tutorials, on symgraph: data, model, training, pictures, command line."""
