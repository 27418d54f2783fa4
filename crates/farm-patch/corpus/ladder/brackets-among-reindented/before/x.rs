fn a() {
    one();
    two();
    {
        {
        }
    }
    x();
}

fn b() {
    {
    }
}
