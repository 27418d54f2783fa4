def f():
    return x


def g():
    return x
