/* Instructions issue in program order, up to `width` a cycle; one that cannot issue stops all that follow. */
#include <string.h>

#include "simulate.h"

#define AHEAD 64 /* cycles of the reservation calendar, more than any reserved_after */

struct State {
  int64_t ready[REGISTERS];       /* cycle at which a register can be read */
  int64_t accumulated[REGISTERS]; /* the same for an accumulator of `producer` */
  int producer[REGISTERS];        /* group that forwards to accumulators, -1: none */
  int64_t held[MAX_PORTS];        /* port is in use before this cycle */
  uint16_t reserved[AHEAD];       /* ports taken in a later cycle, by cycle modulo AHEAD */
  int64_t reserved_upto;          /* cycles before this one have been cleared */
};

static void clear_passed(struct State *state, int64_t cycle) {
  if (cycle - state->reserved_upto >= AHEAD) memset(state->reserved, 0, sizeof state->reserved);
  else
    for (int64_t t = state->reserved_upto; t < cycle; t++) state->reserved[t % AHEAD] = 0;
  if (cycle > state->reserved_upto) state->reserved_upto = cycle;
}

/* The first choice whose ports are all free at `cycle`, or -1; *blocking: a port in use of the last choice tried. */
static int free_choice(const struct State *state, const struct Operation *op, int ports, int64_t cycle, int *blocking) {
  for (int choice = 0; choice < op->choice_count; choice++) {
    int free = 1;
    for (int port = 0; port < ports && free; port++) {
      if (!(op->choices[choice] >> port & 1)) continue;
      if (state->held[port] > cycle || (state->reserved[cycle % AHEAD] >> port & 1)) {
        free = 0;
        *blocking = port;
      }
    }
    if (free) return choice;
  }
  return -1;
}

static int64_t operands_ready(const struct State *state, const struct Operation *op) {
  int64_t cycle = 0;
  for (int i = 0; i < op->read_count; i++) {
    const int64_t ready = state->ready[op->reads[i]] + op->early[i];
    if (ready > cycle) cycle = ready;
  }
  if (op->accumulator >= 0) {
    const int r = op->accumulator;
    const int64_t ready = state->producer[r] == op->group ? state->accumulated[r] : state->ready[r];
    if (ready > cycle) cycle = ready;
  }
  return cycle;
}

int simulate_in_order(const struct Core *core, const struct Operation *operations, int32_t count, int32_t repetitions,
                      double *steady, double *first, struct Waits *waits) {
  struct State state;
  memset(&state, 0, sizeof state);
  for (int r = 0; r < REGISTERS; r++) state.producer[r] = -1;
  const int warm = repetitions / 2;
  int64_t cycle = 0, start = 0;
  int places = core->width;
  for (int32_t repetition = 0; repetition < repetitions; repetition++) {
    const int counting = repetition > warm;
    for (int32_t k = 0; k < count; k++) {
      const struct Operation *op = &operations[k];
      const int64_t ready = operands_ready(&state, op);
      int choice = -1, blocking = 0;
      for (;;) {
        if (ready > cycle) {
          if (counting) waits->latency += (double)(ready - cycle - 1) + (double)places / core->width;
          cycle = ready;
          places = core->width;
        }
        clear_passed(&state, cycle);
        if (places < op->operations && places < core->width) {
          if (counting) waits->dispatch += (double)places / core->width;
        } else {
          choice = op->choice_count ? free_choice(&state, op, core->ports, cycle, &blocking) : 0;
          if (choice >= 0) break;
          if (counting) waits->port[blocking] += (double)places / core->width;
        }
        cycle++;
        places = core->width;
      }
      places -= op->operations;
      if (counting) waits->dispatch += (double)op->operations / core->width;
      if (op->choice_count)
        for (int port = 0; port < core->ports; port++)
          if (op->choices[choice] >> port & 1) state.held[port] = cycle + op->occupancy;
      if (op->reserved) state.reserved[(cycle + op->reserved_after) % AHEAD] |= op->reserved;
      for (int i = 0; i < op->write_count; i++) {
        const int r = op->writes[i];
        state.ready[r] = cycle + op->latency + i * op->stagger;
        state.producer[r] = op->accumulate ? op->group : -1;
        state.accumulated[r] = cycle + op->accumulate;
      }
      if (op->base >= 0) {
        state.ready[op->base] = cycle + op->update_latency;
        state.producer[op->base] = -1;
      }
      if (op->ends_fetch && places > 0) { /* the rest of the cycle is lost to the fetch */
        if (counting) waits->dispatch += (double)places / core->width;
        places = 0;
      }
    }
    if (repetition == 0) *first = (double)(cycle + 1);
    if (repetition == warm) start = cycle;
  }
  *steady = (double)(cycle - start) / (repetitions - 1 - warm);
  scale_waits(waits, *steady);
  return 0;
}
