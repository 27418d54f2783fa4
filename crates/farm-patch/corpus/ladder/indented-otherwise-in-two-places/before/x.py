def a():
	ends here
	pass


def b():
    ends here
    pass
