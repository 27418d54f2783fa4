def test_a():
    assert get("a")

def test_c():
    pass
