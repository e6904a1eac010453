"""The CUDA target: kernels printed for many threads, made by LLVM, run by NVIDIA's driver."""
