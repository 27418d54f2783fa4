def test_a():
    assert get("a")

def test_a():
    assert get("b")

def test_c():
    pass
