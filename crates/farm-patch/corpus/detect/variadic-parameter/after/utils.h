void die (int         code,
          const char *format,
          ...);
