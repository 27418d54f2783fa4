class A {
  /**
   * One.
   */
  int a;
}
