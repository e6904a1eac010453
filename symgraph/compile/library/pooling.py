def pool(dtype, params): raise NotImplementedError
def pool_grad(dtype, params): raise NotImplementedError
def max_pool_grad(dtype, params): raise NotImplementedError
def max_pool_grad_grad(dtype, params): raise NotImplementedError