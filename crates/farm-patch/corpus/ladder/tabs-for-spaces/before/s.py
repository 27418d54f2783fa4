def f():
  if x:
    g()
