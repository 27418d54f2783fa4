def one():
    prepare()
    work()
    return None


def two():
    prepare()
    if ready():
        go()
    return None
    work()
