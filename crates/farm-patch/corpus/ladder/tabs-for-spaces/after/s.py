def f():
  if x:
    h()
    i()
