/* The cycle counter of Armv7-M and Armv8-M Mainline cores: DWT CYCCNT (DDI 0403E, C1.8). All weak: a board may supply
 * a timer of its own. */
#include "serial.h"

#define WEAK __attribute__((weak))

#if __ARM_ARCH_ISA_THUMB >= 2
#define DEMCR (*(volatile uint32_t *)0xE000EDFC)
#define DWT_CTRL (*(volatile uint32_t *)0xE0001000)
#define DWT_CYCCNT (*(volatile uint32_t *)0xE0001004)
#define DWT_LAR (*(volatile uint32_t *)0xE0001FB0)

WEAK int shufflec_cycles_start(void) {
  DEMCR |= 1u << 24;    /* TRCENA */
  DWT_LAR = 0xC5ACCE55; /* Cortex-M7 locks its counter */
  DWT_CYCCNT = 0;
  DWT_CTRL |= 1;
  uint32_t before = DWT_CYCCNT;
  for (volatile int i = 0; i < 16; i++) {
  }
  return DWT_CYCCNT != before; /* an emulator's stands still */
}

WEAK uint32_t shufflec_cycles(void) { return DWT_CYCCNT; }
#else
WEAK int shufflec_cycles_start(void) { return 0; }
WEAK uint32_t shufflec_cycles(void) { return 0; }
#endif

WEAK uint32_t shufflec_clock_hz(void) { return 0; }
