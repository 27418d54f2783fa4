foo(foo)
