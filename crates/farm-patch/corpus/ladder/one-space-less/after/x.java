/**
 * One.
 * More.
 * Two.
 */
