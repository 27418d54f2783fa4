void die (const char *format);
