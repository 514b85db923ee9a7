/* UART0 of QEMU's boards: CMSDK APB UART (DDI 0479D, 4.2). Weak: a board of your own supplies these two. */
#include "serial.h"
#include "serial_model.h"

#define WEAK __attribute__((weak))

enum { DATA, STATE, CONTROL, INTERRUPT, DIVIDER, TRANSMIT_FULL = 1, RECEIVED = 2 };
static volatile uint32_t *const uart = (volatile uint32_t *)SHUFFLEC_UART;

static void start(void) {
  if (uart[CONTROL]) return;
  uart[DIVIDER] = 16;
  uart[CONTROL] = 3; /* transmits and receives */
}

WEAK int shufflec_serial_read(void) {
  start();
  while (!(uart[STATE] & RECEIVED)) {
  }
  return (int)(uart[DATA] & 0xFF);
}

WEAK void shufflec_serial_write(uint8_t byte) {
  start();
  while (uart[STATE] & TRANSMIT_FULL) {
  }
  uart[DATA] = byte;
}
