/* Cycles of a block of instructions repeated many times, on an in-order or an out-of-order core. */
#ifndef SHUFFLEC_CORES_SIMULATE_H_
#define SHUFFLEC_CORES_SIMULATE_H_

#include <stdint.h>

#define MAX_PORTS 16
#define MAX_CHOICES 4
#define MAX_READS 12
#define MAX_WRITES 6
#define REGISTERS 72

/* One instruction as the core sees it. The layout is mirrored by simulator.py. Cycles are counted from issue. */
struct Operation {
  uint16_t choices[MAX_CHOICES]; /* sets of ports; the instruction takes all ports of one set */
  uint16_t reserved;             /* ports that it also takes `reserved_after` cycles later, for one cycle */
  uint8_t reserved_after;
  uint8_t choice_count; /* 0: needs no port */
  uint8_t operations;   /* places taken in the decoders */
  uint8_t occupancy;    /* cycles that its ports are held */
  uint8_t latency;      /* cycles to the first written register */
  uint8_t stagger;      /* cycles from one written register to the next */
  uint8_t accumulate;   /* cycles to the accumulator of an instruction of the same group; 0: as any other */
  uint8_t group;
  uint8_t read_count, write_count;
  int8_t accumulator; /* register read late, -1: none */
  int8_t base;        /* register that an address update writes, -1: none */
  uint8_t ends_fetch; /* a taken branch: what follows leaves the decoders a cycle later */
  uint8_t update_latency; /* cycles to `base` */
  int8_t reads[MAX_READS];
  uint8_t early[MAX_READS]; /* cycles before issue at which each must be there */
  int8_t writes[MAX_WRITES];
};

struct Core {
  int32_t out_of_order;
  int32_t width;  /* places in the decoders, a cycle */
  int32_t queue;  /* entries before each port (out of order) */
  int32_t window; /* operations in flight (out of order) */
  int32_t ports;
};

/* Where the cycles of a repetition went; they add up to `steady`. A place in the decoders that was used counts as
 * dispatch; one left empty counts as what kept the next instruction from issuing (in order) or entering (out of order). */
struct Waits {
  double latency;         /* a result that was not there yet, or a window full of such */
  double dispatch;        /* the decoders' width */
  double port[MAX_PORTS]; /* a port in use, or the full queue before it */
};

/* Repeats operations[count] `repetitions` times (at least 4). Returns 0, or -1 when memory is out.
 * steady: cycles of a repetition once the pipeline is full; first: cycles until the first has left. */
int simulate_block(const struct Core *core, const struct Operation *operations, int32_t count, int32_t repetitions,
                   double *steady, double *first, struct Waits *waits);

/* Makes the waits add up to `steady`: they were counted over a slightly different stretch of cycles. */
void scale_waits(struct Waits *waits, double steady);

#endif /* SHUFFLEC_CORES_SIMULATE_H_ */
