def rewrite_graph(outputs, level):
    return list(outputs)
