/**
 * One.
 * Two.
 */
