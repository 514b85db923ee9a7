/* Instructions enter in program order, wait in a queue before their port until their operands are there, issue oldest
 * first, and leave in order. */
#include <stdlib.h>
#include <string.h>

#include "simulate.h"

#define SOURCES (MAX_READS + 1)

enum Status { WAITING, ISSUED };

/* An instruction in flight or past. Sources are indices of the instructions that produce what it reads. */
struct Entry {
  int32_t source[MAX_READS];
  int32_t accumulator; /* -1: none */
  int64_t issued;
  uint8_t early[MAX_READS]; /* as in struct Operation */
  uint8_t which[MAX_READS]; /* which written register of the source; 255: its updated base */
  uint8_t sources;
  uint8_t choice;
  uint8_t status;
};

enum { BASE = 255 };

static void find_sources(const struct Operation *operations, int32_t count, int32_t total, struct Entry *entries) {
  int32_t writer[REGISTERS];
  uint8_t which[REGISTERS] = {0};
  for (int r = 0; r < REGISTERS; r++) writer[r] = -1;
  for (int32_t k = 0; k < total; k++) {
    const struct Operation *op = &operations[k % count];
    struct Entry *entry = &entries[k];
    for (int i = 0; i < op->read_count; i++) {
      const int r = op->reads[i];
      if (writer[r] < 0) continue;
      entry->source[entry->sources] = writer[r];
      entry->early[entry->sources] = op->early[i];
      entry->which[entry->sources++] = which[r];
    }
    entry->accumulator = op->accumulator >= 0 ? writer[op->accumulator] : -1;
    for (int i = 0; i < op->write_count; i++) {
      writer[op->writes[i]] = k;
      which[op->writes[i]] = (uint8_t)i;
    }
    if (op->base >= 0) {
      writer[op->base] = k;
      which[op->base] = BASE;
    }
  }
}

static int64_t finished(const struct Operation *op, const struct Entry *entry) {
  const int last = op->write_count > 1 ? op->write_count - 1 : 0;
  return entry->issued + op->latency + last * op->stagger;
}

static int operands_ready(const struct Operation *operations, int32_t count, const struct Entry *entries, int32_t k,
                          int64_t cycle) {
  const struct Entry *entry = &entries[k];
  for (int i = 0; i < entry->sources; i++) {
    const struct Entry *source = &entries[entry->source[i]];
    if (source->status != ISSUED) return 0;
    const struct Operation *producer = &operations[entry->source[i] % count];
    const int64_t delay = entry->which[i] == BASE ? producer->update_latency : producer->latency + entry->which[i] * producer->stagger;
    if (source->issued + delay + entry->early[i] > cycle) return 0;
  }
  if (entry->accumulator >= 0) {
    const struct Entry *source = &entries[entry->accumulator];
    if (source->status != ISSUED) return 0;
    const struct Operation *producer = &operations[entry->accumulator % count];
    const int forwards = producer->accumulate && producer->group == operations[k % count].group;
    if (source->issued + (forwards ? producer->accumulate : producer->latency) > cycle) return 0;
  }
  return 1;
}

static int first_port(uint16_t ports) { return __builtin_ctz(ports); }

/* The choice with the shortest queue (of its first port), then with the port that is free earliest. */
static int best_choice(const struct Operation *op, const int *queued, const int64_t *held) {
  int best = 0;
  for (int choice = 1; choice < op->choice_count; choice++) {
    const int a = first_port(op->choices[choice]), b = first_port(op->choices[best]);
    if (queued[a] < queued[b] || (queued[a] == queued[b] && held[a] < held[b])) best = choice;
  }
  return best;
}

static int blocking_port(uint16_t ports, const int64_t *held, int count, int64_t cycle) {
  for (int port = 0; port < count; port++)
    if ((ports >> port & 1) && held[port] > cycle) return port;
  return -1;
}

int simulate_out_of_order(const struct Core *core, const struct Operation *operations, int32_t count,
                          int32_t repetitions, double *steady, double *first, struct Waits *waits) {
  const int32_t total = count * repetitions;
  const int warm = repetitions / 2;
  struct Entry *entries = calloc((size_t)total, sizeof *entries);
  int32_t *waiting = malloc((size_t)(core->window + 1) * sizeof *waiting);
  if (!entries || !waiting) {
    free(entries);
    free(waiting);
    return -1;
  }
  find_sources(operations, count, total, entries);

  int64_t held[MAX_PORTS] = {0}, cycle = 0, start = 0;
  int queued[MAX_PORTS] = {0}, waiting_count = 0, owed = 0;
  int32_t head = 0, entered = 0;
  while (head < total) {
    while (head < entered && entries[head].status == ISSUED &&
           finished(&operations[head % count], &entries[head]) <= cycle) {
      head++;
      if (head == count) *first = (double)cycle;
      if (head == (warm + 1) * count) start = cycle;
    }
    if (head == total) break;

    int kept = 0, active[MAX_PORTS] = {0}, oldest_blocked = -1;
    for (int i = 0; i < waiting_count; i++) {
      const int32_t k = waiting[i];
      const struct Operation *op = &operations[k % count];
      struct Entry *entry = &entries[k];
      int issues = operands_ready(operations, count, entries, k, cycle);
      if (issues) {
        const uint16_t ports = op->choices[entry->choice];
        const int blocking = blocking_port(ports, held, core->ports, cycle);
        if (blocking >= 0) {
          issues = 0;
          active[blocking] = 1;
          if (k == head) oldest_blocked = blocking;
        } else {
          for (int port = 0; port < core->ports; port++)
            if (ports >> port & 1) {
              held[port] = cycle + op->occupancy;
              active[port] = 1;
            }
          queued[first_port(ports)]--;
          entry->status = ISSUED;
          entry->issued = cycle;
        }
      }
      if (!issues) waiting[kept++] = k;
    }
    waiting_count = kept;

    int places = core->width - owed, full_queue = -1;
    owed = 0;
    while (entered < total && places > 0 && entered - head < core->window) {
      const struct Operation *op = &operations[entered % count];
      struct Entry *entry = &entries[entered];
      if (op->choice_count == 0) {
        entry->status = ISSUED;
        entry->issued = cycle;
      } else {
        entry->choice = (uint8_t)best_choice(op, queued, held);
        const int port = first_port(op->choices[entry->choice]);
        if (queued[port] >= core->queue) {
          full_queue = port;
          break;
        }
        queued[port]++;
        waiting[waiting_count++] = entered;
      }
      entered++;
      places -= op->operations;
      if (op->ends_fetch && places > 0) places = 0;
    }
    if (places < 0) owed = -places;
    if (start && entered < total) { /* why were places left empty */
      const double empty = places > 0 ? (double)places / core->width : 0;
      const int port = full_queue >= 0 && active[full_queue] ? full_queue : full_queue < 0 ? oldest_blocked : -1;
      waits->dispatch += 1 - empty;
      if (port >= 0) waits->port[port] += empty;
      else waits->latency += empty;
    }
    cycle++;
  }
  *steady = (double)(cycle - start) / (repetitions - 1 - warm);
  scale_waits(waits, *steady);
  free(entries);
  free(waiting);
  return 0;
}
