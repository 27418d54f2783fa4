y = g(f(x))
