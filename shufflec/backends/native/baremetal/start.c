/* Start-up code of the test firmware: vectors, memory, FPU and MVE, semihosting, and what kernels call of a C library.
 * Source: Armv7-M ARM (DDI 0403E), B1.5; semihosting: Arm's specification (release 2.0), 6. */
#include "start.h"

extern uint32_t stack_top, stack_bottom, data_source, data_begin, data_end, bss_begin, bss_end;

int main(void);

static int semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static unsigned length(const char *text) {
  unsigned n = 0;
  while (text[n]) n++;
  return n;
}

int host_open(const char *name, int mode) {
  const uint32_t block[3] = {(uint32_t)name, (uint32_t)mode, length(name)};
  return semihost(0x01, block);
}

int host_write(int file, const void *data, unsigned bytes) {
  const uint32_t block[3] = {(uint32_t)file, (uint32_t)data, bytes};
  return semihost(0x05, block);
}

int host_read(int file, void *data, unsigned bytes) {
  const uint32_t block[3] = {(uint32_t)file, (uint32_t)data, bytes};
  return semihost(0x06, block);
}

void host_exit(int code) {
  const uint32_t block[2] = {0x20026, (uint32_t)code};
  semihost(0x20, block);
  for (;;) {
  }
}

#define STACK_PAINT 0xA5C35A3Cu

unsigned stack_used(void) {
  const uint32_t *word = &stack_bottom;
  while (word < &stack_top && *word == STACK_PAINT) word++;
  return (unsigned)((const char *)&stack_top - (const char *)word);
}

void stack_paint(void) {
  uint32_t *here = __builtin_frame_address(0);
  for (uint32_t *word = &stack_bottom; word < here - 16; word++) *(volatile uint32_t *)word = STACK_PAINT;
}

static void fault(void) { host_exit(99); }

static __attribute__((noinline)) void begin(void) {
  const uint32_t *source = &data_source;
  for (uint32_t *word = &data_begin; word < &data_end;) *word++ = *source++;
  for (uint32_t *word = &bss_begin; word < &bss_end;) *word++ = 0;
  host_exit(main());
}

/* Nothing here may need the FPU, MVE or low-overhead loops: they are off. */
void reset(void) {
#if __ARM_ARCH_ISA_THUMB >= 2
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: full access to the FPU and MVE, where there are any */
#endif
#if defined(__ARM_ARCH_8_1M_MAIN__)
  *(volatile uint32_t *)0xE000ED14 |= 1u << 19;   /* CCR.LOB: low-overhead loops */
#endif
  __asm__ volatile("dsb\nisb" ::: "memory");
  begin();
}

__attribute__((section(".vectors"), used)) const void *const vectors[16] = {
    &stack_top, (void *)reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, fault};

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  char *a = to;
  const char *b = from;
  for (; n; n--) {
    *a++ = *b++;
    __asm__ volatile("" ::: "memory"); /* or the compiler finds a memcpy here and calls it */
  }
  return to;
}

void *memset(void *to, int value, size_t n) {
  char *a = to;
  for (; n; n--) {
    *a++ = (char)value;
    __asm__ volatile("" ::: "memory");
  }
  return to;
}

#if __ARM_ARCH_ISA_THUMB == 1
/* Armv6-M multiplies 32 by 32 bits to 32; the names that compilers call for more (run-time ABI, IHI 0043, 5.1). */
int64_t __aeabi_lmul(int64_t a, int64_t b) {
  uint32_t al = (uint32_t)a, bl = (uint32_t)b, ah = (uint32_t)((uint64_t)a >> 32), bh = (uint32_t)((uint64_t)b >> 32);
  uint32_t low = (al & 0xFFFF) * (bl & 0xFFFF), first = (al >> 16) * (bl & 0xFFFF), second = (al & 0xFFFF) * (bl >> 16);
  uint32_t middle = first + (low >> 16), high = (al >> 16) * (bl >> 16) + (middle >> 16);
  middle = (middle & 0xFFFF) + second;
  high += (middle >> 16) + al * bh + ah * bl;
  return (int64_t)((uint64_t)high << 32 | middle << 16 | (low & 0xFFFF));
}

int64_t __muldi3(int64_t a, int64_t b) { return __aeabi_lmul(a, b); }

uint32_t __udivsi3(uint32_t a, uint32_t b) {
  uint32_t quotient = 0, rest = 0;
  for (int bit = 31; bit >= 0; bit--) {
    rest = rest << 1 | (a >> bit & 1);
    if (rest >= b) rest -= b, quotient |= 1u << bit;
  }
  return quotient;
}

int32_t __divsi3(int32_t a, int32_t b) {
  uint32_t quotient = __udivsi3(a < 0 ? -(uint32_t)a : (uint32_t)a, b < 0 ? -(uint32_t)b : (uint32_t)b);
  return (int32_t)((a ^ b) < 0 ? -quotient : quotient);
}

uint32_t __umodsi3(uint32_t a, uint32_t b) { return a - __udivsi3(a, b) * b; }
int32_t __modsi3(int32_t a, int32_t b) { return a - __divsi3(a, b) * b; }
#endif
