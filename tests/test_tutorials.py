"""The scripts of examples/tutorials, unmodified, with `import theano` meaning symgraph.

Each is run through its `main` with small networks and few digits; bounds are what was measured,
with room. examples/tutorials/README.md has the results of full runs.
"""

from __future__ import annotations

import gzip
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from tests.under_alias import imported, modules_of

FOLDER = Path(__file__).parent.parent / "examples" / "tutorials"
SAMPLE = ("--data", "sample")
Script = Callable[[str], Any]


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    """`script(name)`: the module of a tutorial, imported under the alias, floatX float64."""
    with modules_of(FOLDER, floatX="float64") as script:
        yield script


def falls(costs: list[float]) -> bool:
    return all(later < earlier for earlier, later in itertools.pairwise(costs))


def test_logistic_sgd(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "best_model.pkl")
    main = script("logistic_sgd").main
    result = main([*SAMPLE, "--epochs", "5", "--batch-size", "50", "--save", saved])
    assert result.validation_error < 0.16 and result.test_error < 0.16
    assert [epoch for epoch, _ in result.history] == [1, 2, 3, 4, 5]
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("epoch 1, minibatch 37/37: cost ") and out[-1].startswith("best ")
    found, actual = main([*SAMPLE, "--predict", saved])  # unpickles the model
    assert found.shape == actual.shape == (10,) and np.sum(found == actual) >= 7


def test_mlp(script: Script) -> None:
    result = script("mlp").main([*SAMPLE, "--epochs", "4", "--n-hidden", "100", "--l1", "0.0001"])
    assert result.validation_error < 0.33
    assert falls([error for _, error in result.history])


def test_convolutional_mlp(script: Script) -> None:
    arguments = [*SAMPLE, "--epochs", "3", "--batch-size", "20", "--nkerns", "4", "6"]
    result = script("convolutional_mlp").main(arguments)
    assert result.validation_error < 0.12


def test_logistic_cg(script: Script) -> None:
    pytest.importorskip("scipy", reason="the minimiser is SciPy's")
    main = script("logistic_cg").main
    result = main([*SAMPLE, "--epochs", "12", "--batch-size", "100"])
    assert falls(result.costs) and result.costs[-1] < 0.4
    assert result.validation_error < 0.14
    with (
        symgraph.config.change_flags(floatX="float32"),
        pytest.raises(SystemExit, match="floatX=float64"),
    ):
        main([*SAMPLE, "--epochs", "1", "--batch-size", "100"])


def test_cA(script: Script, tmp_path: Path) -> None:
    picture = tmp_path / "filters.png"
    arguments = [*SAMPLE, "--epochs", "2", "--n-hidden", "30", "--filters", str(picture)]
    published = script("cA").main(arguments)
    assert falls([cost for cost, _ in published])
    assert picture.read_bytes().startswith(b"\x89PNG")
    # A floor division has no gradient: nothing is learned from the penalty, whatever its weight.
    assert script("cA").main([*arguments, "--contraction", "0"]) == published
    exact = script("cA").main([*arguments, "--exact"])
    assert falls([cost for cost, _ in exact])
    assert exact[-1][1] < 0.95 * published[-1][1]


def test_dA(script: Script) -> None:
    costs = script("dA").main([*SAMPLE, "--epochs", "2", "--n-hidden", "30"])
    assert list(costs) == [0.0, 0.3]
    assert all(falls(column) for column in costs.values())
    assert costs[0.0][-1] < costs[0.3][-1]  # what is lost has to be guessed


def test_SdA(script: Script) -> None:
    arguments = ["--pretraining-epochs", "2", "--epochs", "4", "--batch-size", "10"]
    sizes = ["--sizes", "60", "40", "--corruption", "0.1", "0.2", "--pretraining-rate", "0.05"]
    result = script("SdA").main([*SAMPLE, *arguments, *sizes])
    assert [falls(costs) for costs in result.pretraining] == [True, True]
    assert result.finetuning.validation_error < 0.3


def test_hmc(script: Script) -> None:
    result = script("hmc").main(["--burnin", "1000", "--samples", "1000"])
    assert result.acceptance_rate == pytest.approx(0.9, abs=0.1)
    np.testing.assert_allclose(result.sample_mean, result.mean, atol=0.25)
    np.testing.assert_allclose(result.sample_covariance, result.covariance, atol=0.4)


def test_rbm(script: Script, tmp_path: Path) -> None:
    picture = tmp_path / "samples.png"
    arguments = ["--epochs", "2", "--n-hidden", "30", "--k", "2", "--n-chains", "4"]
    arguments += ["--batch-size", "2", "--learning-rate", "0.01"]  # each pixel once
    sampling = ["--n-samples", "2", "--plot-every", "20", "--samples", str(picture)]
    costs, dreams = script("rbm").main([*SAMPLE, *arguments, *sampling])
    assert falls([-cost for cost in costs])
    assert dreams.shape == (2, 4, 784) and 0 <= dreams.min() < dreams.max() <= 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_DBN(script: Script) -> None:
    arguments = ["--pretraining-epochs", "2", "--epochs", "4", "--batch-size", "10"]
    result = script("DBN").main([*SAMPLE, *arguments, "--sizes", "60", "40"])
    assert all(costs[1] > costs[0] for costs in result.pretraining)  # log likelihoods
    assert result.finetuning.validation_error < 0.3


@pytest.mark.filterwarnings("ignore:softmax of a vector:UserWarning")
def test_rnnslu(script: Script) -> None:
    arguments = ["--epochs", "4", "--sentences", "400", "--n-hidden", "50", "--dimension", "20"]
    result = script("rnnslu").main([*arguments, "--learning-rate", "0.2"])
    assert falls(result.costs)
    assert result.test_f1 > 50
    # The best model is a deep copy: its functions work, on parameters of its own.
    words = np.zeros((4, 7), "int32")
    assert result.model.classify(words).shape == (4,)


def test_options_that_do_not_fit(script: Script) -> None:
    with pytest.raises(ValueError, match=r"got 4; expected an odd number"):
        script("rnnslu").contextwin([0, 1], 4)
    with pytest.raises(SystemExit, match="got adam; expected one of sgd"):
        script("lstm").main(["--optimizer", "adam"])
    with pytest.raises(SystemExit, match="got 3 levels of --corruption, 1 --sizes"):
        script("SdA").main(["--sizes", "5"])
    regression, T = script("logistic_sgd"), imported("theano.tensor")[0]
    model = regression.LogisticRegression(T.matrix(), 2, 3)
    for labels, expected in ((T.matrix(), "a vector"), (T.dvector(), "integers")):
        with pytest.raises(TypeError, match=rf"labels: got .*; expected {expected}\. Cure: "):
            model.errors(labels)


def test_files_of_the_tutorials(script: Script, tmp_path: Path) -> None:
    """ATIS, IMDB and piano rolls in the forms in which they were published."""
    atis, imdb, music = (str(tmp_path / name) for name in ("atis.pkl.gz", "imdb.pkl", "music.pkl"))
    sentence = np.array([0, 2, 1])
    part = ([sentence] * 5, [sentence] * 5, [sentence % 2] * 5)
    numbers = {"words2idx": {"to": 0, "fly": 1, "boston": 2}, "labels2idx": {"O": 0, "B-city": 1}}
    with gzip.open(atis, "wb") as file:
        pickle.dump((part, part, numbers), file, protocol=2)
    corpus = script("flights").load(atis)
    assert [len(corpus[k].words) for k in range(3)] == [4, 1, 5]
    assert corpus.word_names == ["to", "fly", "boston"] and corpus.label_names == ["O", "B-city"]
    assert corpus.test.labels[0].tolist() == [0, 0, 1] and corpus.test.words[0].dtype == "int32"

    with open(imdb, "wb") as file:
        for _ in range(2):
            pickle.dump(([[5, 99]] * 19 + [[1] * 50], [0, 1] * 10), file, protocol=2)
    train, valid, test = script("opinions").load(imdb, n_words=50, maxlen=50)
    assert [len(x.x) for x in (train, valid, test)] == [18, 1, 20]
    assert train.x[0] == [5, 1] and {*train.y} == {0, 1}

    with open(music, "wb") as file:
        pickle.dump({"train": [[(21, 60), (), (108,)]]}, file, protocol=2)
    (roll,) = script("piano_rolls").load(music)
    assert [list(np.flatnonzero(step)) for step in roll] == [[0, 39], [], [87]]


class Payload:
    def __reduce__(self) -> Any:
        return Path.mkdir, (Path("ran"),)


@pytest.mark.parametrize(
    "name, options", [("flights", ()), ("opinions", (9, 9)), ("piano_rolls", ())]
)
def test_files_of_another_form(
    script: Script, name: str, options: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and nothing of the file is run."""
    monkeypatch.chdir(tmp_path)
    low = {"train": [[(20,)]]}  # below a piano's lowest key
    files = {
        "code": pickle.dumps(Payload(), 2) * 2,
        "none": pickle.dumps(low, 2) * 2,
        "bad.gz": b"?",
    }
    for file, data in files.items():
        Path(file).write_bytes(data)
    for file in (*files, "absent"):
        with pytest.raises(
            SystemExit, match=rf"^{file}: got \w+: .*; expected .*\. Cure: .*$"
        ) as end:
            script(name).load(file, *options)
        assert "\n" not in str(end.value)
        assert file != "code" or "is refused" in str(end.value)
    assert not Path("ran").exists()


def test_f1_measure_counts_whole_slots(script: Script) -> None:
    module = script("rnnslu")
    actual = ["O", "B-city", "I-city", "O", "B-day"]
    assert module.chunks(actual) == {(1, 3, "city"), (4, 5, "day")}
    assert module.chunks(["I-a", "B-a", "I-b"]) == {(0, 1, "a"), (1, 2, "a"), (2, 3, "b")}
    assert module.f1_measure([actual], [actual]) == 100
    assert module.f1_measure([["O", "B-city", "O", "O", "B-day"]], [actual]) == 50
    assert module.f1_measure([["O"] * 5], [["O"] * 5]) == 0


def test_lstm(script: Script, tmp_path: Path) -> None:
    saved = tmp_path / "best.npz"
    arguments = ["--epochs", "42", "--reviews", "600", "--dim-proj", "32", "--no-dropout"]
    result = script("lstm").main([*arguments, "--valid-freq", "300", "--save", str(saved)])
    assert result.costs[-1] < 0.3 < 0.65 < result.costs[0]
    assert result.test_error < 0.15  # of what bags of words cannot tell apart
    assert np.load(saved)["lstm_U"].shape == (32, 128)


@pytest.mark.parametrize("optimizer", ["adadelta", "rmsprop", "sgd"])
def test_lstm_with_dropout(script: Script, optimizer: str) -> None:
    arguments = ["--epochs", "6", "--reviews", "100", "--dim-proj", "8", "--valid-freq", "7"]
    options = ["--optimizer", optimizer, "--learning-rate", "0.1", "--decay", "0.001"]
    costs = script("lstm").main([*arguments, *options]).costs
    assert len(costs) == 6 and max(costs) < 0.72


def test_rnnrbm(script: Script) -> None:
    arguments = ["--epochs", "2", "--pieces", "4", "--n-hidden", "20", "--n-recurrent", "10"]
    monitors, piece = script("rnnrbm").main([*arguments, "--steps", "12"])
    assert monitors[1] > monitors[0]
    assert piece.shape == (12, 88) and set(np.unique(piece)) <= {0, 1}


# What Theano 1.0.5 gave for short runs of the same scripts.
OF_THEANO: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "dA --data sample --epochs 1 --n-hidden 10 --batch-size 600": (
        lambda costs: [costs[0.0][0], costs[0.3][0]],
        [521.7444136595442, 518.1348214965109],
    ),
    "SdA --data sample --epochs 1 --pretraining-epochs 1 --sizes 10 8 --corruption .1 .2 "
    "--batch-size 360": (
        lambda result: [*np.ravel(result.pretraining), result.finetuning.validation_error],
        [561.059906742921, 9.70383662315264, 0.8972222222222223],
    ),
    "DBN --data sample --epochs 1 --pretraining-epochs 1 --sizes 10 8 --batch-size 360": (
        lambda result: [*np.ravel(result.pretraining), result.finetuning.validation_error],
        [-548.6904018342955, -12.081094896817149, 0.9083333333333333],
    ),
    "hmc --burnin 10 --samples 20": (
        lambda result: [*result.sample_mean, result.stepsize],
        [
            -0.42347489008,
            0.08799483586,
            -0.40922684585,
            -1.37443334557,
            -0.38590199820,
            0.0017758447,
        ],
    ),
    "rbm --data sample --epochs 1 --n-hidden 8 --k 2 --batch-size 360 --n-chains 2 --n-samples 1 "
    "--plot-every 3": (
        lambda result: [*result[0], result[1].sum()],
        [-485.83598060252814, 699.9732237806309],
    ),
    "rnnslu --epochs 2 --sentences 20 --n-hidden 5 --dimension 4": (
        lambda result: result.costs,
        [2.525550175374469, 1.954987318934099],
    ),
    "lstm --epochs 2 --reviews 60 --dim-proj 6 --valid-freq 3 --batch-size 20": (
        lambda result: result.costs,
        [0.6928726346882081, 0.692711653025064],
    ),
    "rnnrbm --epochs 1 --pieces 2 --n-hidden 5 --n-recurrent 4 --steps 3": (
        lambda result: [*result[0], result[1].sum()],
        [-60.9291382581296, 141.0],
    ),
}


@pytest.mark.filterwarnings("ignore:softmax of a vector:UserWarning")
@pytest.mark.parametrize("command", OF_THEANO, ids=lambda command: command.split()[0])
def test_the_numbers_are_those_of_theano(script: Script, command: str) -> None:
    name, *arguments = command.split()
    pick, expected = OF_THEANO[command]
    result = script(name).main(arguments)
    np.testing.assert_allclose(pick(result), expected, rtol=1e-6)


def test_run_as_a_command() -> None:
    """`python -m symgraph run script.py arguments`: nothing else is needed."""
    command = [sys.executable, "-m", "symgraph", "run", str(FOLDER / "logistic_sgd.py")]
    options = [*SAMPLE, "--epochs", "1", "--batch-size", "50", "--save", ""]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert "best validation error" in done.stdout
