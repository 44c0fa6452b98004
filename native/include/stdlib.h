/* The little of the C library that the kernels use; kernels.c defines it. */
#pragma once
#include <stddef.h>
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void free(void *block);
