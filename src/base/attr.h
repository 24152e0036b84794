/* Attributes used all over the tree. */
#pragma once

/* A result that must be looked at. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* printf-like function: argument numbers of the format and of its first value. */
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

/* The struct of type `type` whose member `member` lies at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Number of elements of an array (not a pointer). */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
