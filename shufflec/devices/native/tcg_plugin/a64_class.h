/* Class of one A64 instruction word. */
#ifndef SHUFFLEC_A64_CLASS_H_
#define SHUFFLEC_A64_CLASS_H_

#include <stdint.h>

#include "../common/counters.h"

/* word: an instruction as it stands in memory, read as a little-endian 32-bit number. */
enum ShufflecClass shufflec_a64_class(uint32_t word);

#endif /* SHUFFLEC_A64_CLASS_H_ */
