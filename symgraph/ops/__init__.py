"""The ops, one file a family. Each op is one class: types, shape, gradient, meaning, lowering."""
