"""The commands of `python -m lenet`, a module each: HELP, add_arguments and run."""
