/* The serial firmware of QEMU's boards; on a board of your own, its main program calls this once the clocks run. */
#include "serial.h"

int main(void) {
  shufflec_serial_serve();
  return 0;
}
