/* Asks the clock process how long a region took: the blocks that ran and their misses go there, the estimate comes back. */
#ifndef SHUFFLEC_CLOCK_CLIENT_H_
#define SHUFFLEC_CLOCK_CLIENT_H_

#include "../common/counters.h"

/* Sets the clock's Unix socket. Returns -1 for a path that is too long for one. Call it once, before all else. */
int clock_client_set_socket(const char *path);

/* Whether there is a clock to ask. */
int clock_client_present(void);

/* Sends the region that just ended (block_table.h) and waits for its estimate. A failure is in estimate->state. */
void clock_client_estimate(struct ShufflecEstimate *estimate);

#endif /* SHUFFLEC_CLOCK_CLIENT_H_ */
