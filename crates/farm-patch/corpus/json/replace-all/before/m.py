foo(foo)
x
foo
