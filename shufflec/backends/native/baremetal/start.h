/* What the test firmware's main program needs of the board: files on the host by semihosting, and the stack's depth. */
#ifndef SHUFFLEC_START_H
#define SHUFFLEC_START_H

#include <stddef.h>
#include <stdint.h>

enum { HOST_READ = 1, HOST_WRITE = 5 }; /* fopen's "rb" and "wb" */

int host_open(const char *name, int mode);                     /* a handle, or -1 */
int host_write(int file, const void *data, unsigned bytes);    /* bytes that were not written */
int host_read(int file, void *data, unsigned bytes);           /* bytes that were not read */
void host_exit(int code);

void stack_paint(void);    /* fills what is below the caller's frame */
unsigned stack_used(void); /* bytes from the top to the deepest one that was written since */

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);

#endif
