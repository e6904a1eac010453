"""The command line: `python -m symgraph run script.py`, `config`, `cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import symgraph
from tests.test_alias import python

SCRIPT = """\
import pickle, sys
import theano.tensor as T
import beside

class Here:
    pass

if __name__ == "__main__":
    assert isinstance(pickle.loads(pickle.dumps(Here())), Here)
    print(sys.argv[1:], sys.path[0], __file__, beside.value, T.scalar().dtype)
    if sys.argv[1:] == ["fail"]:
        T.no_such_name
    sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "script.py").write_text(SCRIPT)
    (tmp_path / "code" / "beside.py").write_text("value = 'beside'\n")
    (tmp_path / "code" / "broken.py").write_text("x = = 1\n")
    return tmp_path


def test_run_is_python_with_theano(scripts: Path) -> None:
    folder = str((scripts / "code").resolve())
    done = python("-m", "symgraph", "run", "code/script.py", "3", "--flag", "-h", cwd=scripts,
                  THEANO_FLAGS="floatX=float32")  # fmt: skip
    expected = f"['3', '--flag', '-h'] {folder} {folder}/script.py beside float32\n"
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 3)
    done = python("-m", "symgraph", "run", "-m", "script", "4", cwd=scripts / "code")
    assert done.returncode == 4
    assert done.stdout.startswith(f"['4'] {folder} {folder}/script.py beside")


def test_tracebacks_of_scripts_are_pythons(scripts: Path) -> None:
    path = (scripts / "code").resolve() / "script.py"
    done = python("-m", "symgraph", "run", "code/script.py", "fail", cwd=scripts)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{path}", line 12, in <module>'
    assert "runpy" not in done.stderr
    assert "symgraph/__main__.py" not in done.stderr
    assert "AttributeError: theano.tensor.no_such_name" in done.stderr
    done = python("-m", "symgraph", "run", "code/broken.py", cwd=scripts)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "SyntaxError: invalid syntax"
    assert "__main__.py" not in done.stderr


def test_run_says_what_it_cannot_run(scripts: Path) -> None:
    for arguments, code, said in [
        (["nowhere.py"], 2, "can't open file 'nowhere.py': No such file"),
        (["-m", "no_such_module"], 1, "No module named no_such_module"),
        ([], 2, "run needs a script"),
        (["-m"], 2, "run needs a script, or -m and a module"),
    ]:
        done = python("-m", "symgraph", "run", *arguments, cwd=scripts)
        assert done.returncode == code, arguments
        assert said in done.stderr


def command(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    from symgraph.__main__ import main

    code = main(arguments)
    return (code, *capsys.readouterr())


def test_the_other_commands(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ([], ["--help"], ["-h"], ["run", "--help"], ["cache", "-h"]):
        code, out, _ = command(capsys, *asked)
        assert code == 0
        assert "python -m symgraph run convolutional_mlp.py --epochs 10" in out
    assert command(capsys, "--version") == (0, f"symgraph {symgraph.__version__}\n", "")
    code, out, _ = command(capsys, "config")
    assert "Accepted, without meaning here" in out
    code, _, err = command(capsys, "compile")
    assert code == 2
    assert "there is no command 'compile'" in err
    assert "config takes no arguments" in command(capsys, "config", "mode")[2]

    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path))
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "kernel.o").write_bytes(bytes(2_000_000))
    assert command(capsys, "cache")[1] == f"{tmp_path}: 1 files, 2.0 MB\n"
    assert command(capsys, "cache", "clear")[1] == f"{tmp_path}: 0 files, 0.0 MB\n"
    assert command(capsys, "cache", "polish")[0] == 2
