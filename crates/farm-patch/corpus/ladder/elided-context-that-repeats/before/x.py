def a():
    x = 1
    y = 2
    old = 3

def a():
    x = 1
