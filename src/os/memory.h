/* Memory of large buffers. */
#pragma once

#include <stddef.h>

/* Give the whole pages inside a buffer back to the system; its contents become zero or stay. */
void memory_release(void *buffer, size_t len);
