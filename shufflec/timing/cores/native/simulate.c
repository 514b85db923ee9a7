#include "simulate.h"

#include <string.h>

int simulate_in_order(const struct Core *core, const struct Operation *operations, int32_t count, int32_t repetitions,
                      double *steady, double *first, struct Waits *waits);
int simulate_out_of_order(const struct Core *core, const struct Operation *operations, int32_t count,
                          int32_t repetitions, double *steady, double *first, struct Waits *waits);

int simulate_block(const struct Core *core, const struct Operation *operations, int32_t count, int32_t repetitions,
                   double *steady, double *first, struct Waits *waits) {
  memset(waits, 0, sizeof *waits);
  if (count <= 0 || repetitions < 4) return -1;
  return core->out_of_order ? simulate_out_of_order(core, operations, count, repetitions, steady, first, waits)
                            : simulate_in_order(core, operations, count, repetitions, steady, first, waits);
}

void scale_waits(struct Waits *waits, double steady) {
  double sum = waits->latency + waits->dispatch;
  for (int port = 0; port < MAX_PORTS; port++) sum += waits->port[port];
  if (sum <= 0) return;
  waits->latency *= steady / sum;
  waits->dispatch *= steady / sum;
  for (int port = 0; port < MAX_PORTS; port++) waits->port[port] *= steady / sum;
}
