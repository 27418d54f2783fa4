class A {
  /**
   * One.
   * More.
   */
  int b;

  /**
   * Two.
   */
  int a;
}
