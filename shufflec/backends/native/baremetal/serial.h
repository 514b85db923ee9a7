/* The model behind a serial line, for `shufflec profile --serial`; the protocol is in SERIAL.md. */
#ifndef SHUFFLEC_SERIAL_H
#define SHUFFLEC_SERIAL_H

#include <stdint.h>

/* What the board supplies. uart_qemu.c has weak ones for QEMU's boards. */
int shufflec_serial_read(void);           /* waits for a byte: 0 to 255 */
void shufflec_serial_write(uint8_t byte); /* sends one, waits while the UART is full */

/* Weak ones are in cycles.c. */
int shufflec_cycles_start(void);   /* starts the core's counter; 0 where there is none */
uint32_t shufflec_cycles(void);    /* its count, modulo 2^32 */
uint32_t shufflec_clock_hz(void);  /* of the core; 0: as in the target's file */

/* Answers requests for ever. */
void shufflec_serial_serve(void);

#endif
