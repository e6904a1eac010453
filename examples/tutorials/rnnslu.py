"""Which words of a question fill which slot: an Elman network with word embeddings.

    python -m symgraph run examples/tutorials/rnnslu.py --epochs 10
    python -m symgraph run examples/tutorials/rnnslu.py --data atis.fold3.pkl.gz

A window of words around each word is looked up in a table of embeddings; h_t = sigmoid(x_t Wx +
h_{t-1} Wh + bh) runs along the sentence in a `scan`, and a softmax of each h_t names the label. A
step is made for each sentence; the embeddings are then scaled back to unit length. The quality is
the F1 measure of whole slots; the best model is kept as a deep copy, functions included.

Without `--data` the questions come from the grammar in flights.py. Model: Deep Learning Tutorials,
"Recurrent Neural Networks with Word Embeddings", after Mesnil, He, Deng & Bengio, "Investigation of
recurrent-neural-network architectures and learning methods for spoken language understanding"
(Interspeech 2013). Documented there, on ATIS: F1 94.48 %.
"""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import flights
import numpy
import theano
from command import options, say
from theano import tensor as T


def contextwin(words: Sequence[int], win: int) -> list[list[int]]:
    """For each word the `win` words around it, an odd number; -1 beyond the sentence's ends."""
    if win < 1 or win % 2 == 0:
        raise ValueError(f"window: got {win}; expected an odd number from 1. Cure: --window 7")
    padded = [-1] * (win // 2) + list(words) + [-1] * (win // 2)
    return [padded[i : i + win] for i in range(len(words))]


def chunks(labels: Sequence[str]) -> set[tuple[int, int, str]]:
    """The slots that IOB `labels` mark: (begin, end, name), the end not included."""
    found, begin, name = set(), 0, ""
    for place, label in enumerate([*labels, "O"]):
        if label != f"I-{name}":
            if name:
                found.add((begin, place, name))
            begin, name = place, label[2:]
    return found


def f1_measure(predicted: list[Sequence[str]], actual: list[Sequence[str]]) -> float:
    """The harmonic mean of precision and recall of whole slots, 0 to 100, as conlleval counts."""
    right = found = wanted = 0
    for ours, theirs in zip(predicted, actual, strict=True):
        a, b = chunks(ours), chunks(theirs)
        right, found, wanted = right + len(a & b), found + len(a), wanted + len(b)
    return 200 * right / (found + wanted) if found + wanted else 0.0


class RNNSLU:
    """An Elman network that labels each word of a sentence.

    `nh` hidden units, `nc` labels, `ne` words, embeddings of `de` numbers, a window of `cs` words.
    """

    def __init__(
        self, nh: int, nc: int, ne: int, de: int, cs: int, rng: numpy.random.RandomState
    ) -> None:
        def uniform(name: str, *shape: int) -> Any:
            values = 0.2 * rng.uniform(-1.0, 1.0, shape)
            return theano.shared(name=name, value=values.astype(theano.config.floatX))

        def zeros(name: str, size: int) -> Any:
            return theano.shared(name=name, value=numpy.zeros(size, dtype=theano.config.floatX))

        self.emb = uniform("embeddings", ne + 1, de)  # the last is of the padding, -1
        self.wx = uniform("wx", de * cs, nh)
        self.wh = uniform("wh", nh, nh)
        self.w = uniform("w", nh, nc)
        self.bh = zeros("bh", nh)
        self.b = zeros("b", nc)
        self.h0 = zeros("h0", nh)
        self.params = [self.emb, self.wx, self.wh, self.w, self.bh, self.b, self.h0]

        idxs = T.imatrix()  # a row of the window's words for each word of the sentence
        x = self.emb[idxs].reshape((idxs.shape[0], de * cs))
        y_sentence = T.ivector("y_sentence")

        def recurrence(x_t: Any, h_tm1: Any) -> list[Any]:
            h_t = T.nnet.sigmoid(T.dot(x_t, self.wx) + T.dot(h_tm1, self.wh) + self.bh)
            s_t = T.nnet.softmax(T.dot(h_t, self.w) + self.b)
            return [h_t, s_t]

        [_h, s], _ = theano.scan(
            fn=recurrence, sequences=x, outputs_info=[self.h0, None], n_steps=x.shape[0]
        )
        # The softmax of a vector is a matrix of one row.
        p_y_given_x_sentence = s[:, 0, :]
        y_pred = T.argmax(p_y_given_x_sentence, axis=1)

        lr = T.scalar("lr")
        sentence_nll = -T.mean(T.log(p_y_given_x_sentence)[T.arange(x.shape[0]), y_sentence])
        sentence_gradients = T.grad(sentence_nll, self.params)
        sentence_updates = OrderedDict(
            (p, p - lr * g) for p, g in zip(self.params, sentence_gradients, strict=True)
        )
        self.classify = theano.function(inputs=[idxs], outputs=y_pred)
        self.sentence_train = theano.function(
            inputs=[idxs, y_sentence, lr], outputs=sentence_nll, updates=sentence_updates
        )
        self.normalize = theano.function(
            inputs=[],
            updates={self.emb: self.emb / T.sqrt((self.emb**2).sum(axis=1)).dimshuffle(0, "x")},
        )

    def train(self, x: Any, y: Any, window_size: int, learning_rate: float) -> float:
        """A step for the sentence of words `x` with labels `y`; its cost."""
        words = [numpy.asarray(window).astype("int32") for window in contextwin(x, window_size)]
        cost = self.sentence_train(words, y, learning_rate)
        self.normalize()
        return float(cost)


class Result(NamedTuple):
    """`costs`: the mean of each epoch; F1 measures from 0 to 100; the best model."""

    costs: list[float]
    valid_f1: float
    test_f1: float
    model: RNNSLU


def train_rnnslu(
    corpus: flights.Corpus,
    n_epochs: int = 60,
    learning_rate: float = 0.0970806646812754,
    window: int = 7,
    n_hidden: int = 200,
    dimension: int = 50,
    seed: int = 345,
) -> Result:
    """Train; the learning rate is halved after ten epochs without a better validation F1."""
    shuffler = numpy.random.RandomState(seed)
    rnn = RNNSLU(
        nh=n_hidden,
        nc=len(corpus.label_names),
        ne=len(corpus.word_names),
        de=dimension,
        cs=window,
        rng=numpy.random.RandomState(seed),
    )

    def f1(part: flights.Set) -> float:
        predicted = [
            [corpus.label_names[n] for n in rnn.classify(_windows(words, window))]
            for words in part.words
        ]
        actual = [[corpus.label_names[n] for n in labels] for labels in part.labels]
        return f1_measure(predicted, actual)

    best = Result([], -1.0, -1.0, rnn)
    rate, best_epoch = learning_rate, 0
    begin = time.perf_counter()
    for epoch in range(1, n_epochs + 1):
        order = shuffler.permutation(len(corpus.train.words))
        costs = [
            rnn.train(corpus.train.words[i], corpus.train.labels[i], window, rate) for i in order
        ]
        best.costs.append(float(numpy.mean(costs)))
        valid_f1 = f1(corpus.valid)
        line = f"epoch {epoch}: cost {best.costs[-1]:.4f}, validation F1 {valid_f1:.2f}"
        if valid_f1 > best.valid_f1:
            best_epoch = epoch
            best = Result(best.costs, valid_f1, f1(corpus.test), copy.deepcopy(rnn))
            line += f", test F1 {best.test_f1:.2f}"
        elif epoch - best_epoch >= 10:
            rate *= 0.5
            rnn, best_epoch = copy.deepcopy(best.model), epoch
        say(line)
        if rate < 1e-5:
            break
    say(
        f"best validation F1 {best.valid_f1:.2f}, with test F1 {best.test_f1:.2f}; "
        f"{time.perf_counter() - begin:.1f} s"
    )
    return best


def _windows(words: Any, window: int) -> numpy.ndarray:
    return numpy.asarray(contextwin(words, window)).astype("int32")


def main(arguments: Sequence[str] | None = None) -> Result:
    chosen = options(
        __doc__,
        arguments,
        epochs=(60, "passes over the training set, at most"),
        learning_rate=(0.0970806646812754, "step along the gradient"),
        window=(7, "words around each word, an odd number"),
        n_hidden=(200, "hidden units"),
        dimension=(50, "numbers of an embedding"),
        sentences=(1000, "questions to generate, without --data"),
        seed=(345, "of the weights, the order and the questions"),
        data=("", "ATIS as the tutorial's pickle; '' generates questions"),
    )
    corpus = (
        flights.load(chosen.data)
        if chosen.data
        else flights.generate(chosen.sentences, chosen.seed)
    )
    return train_rnnslu(
        corpus, chosen.epochs, chosen.learning_rate, chosen.window, chosen.n_hidden,
        chosen.dimension, chosen.seed,
    )  # fmt: skip


if __name__ == "__main__":
    main()
