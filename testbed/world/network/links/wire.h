/* A wire is one direction of a link. It moves frames in virtual time, and does no input or output of its own.
 *
 *   accept ─► waiting ── size ÷ bandwidth, or a trace's opportunities ──► line ── delay, jitter ──► arrived
 *             the queue        (departs)                                  express (reordered: no delay)
 *
 * Each of the three lists is first in, first out, so only an express frame overtakes. A frame departs when it has been
 * sent. At that moment chance decides its loss and delay, by the properties of that moment: properties may change while
 * frames wait. Times are nanoseconds of CLOCK_MONOTONIC. userspace.py mirrors `struct properties`.
 */

#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FULL_FRAME 1514 /* bytes that one opportunity of a trace carries; FRAME in schema/network/link_trace.py */
#define QUANTILES 1024
#define NEVER INT64_MAX

/* The properties of a wire. Probabilities are from 0 to 1. */
struct properties {
    double ns_per_byte;   /* 0: no limit */
    int64_t delay;        /* ns */
    double jitter;        /* ns, standard deviation */
    double correlation;   /* of the delays of consecutive frames */
    double to_bad, to_good, in_good, in_bad; /* loss: the Gilbert–Elliott model */
    double duplicate, reorder, corrupt;
    int64_t queue_frames, queue_bytes; /* room of the queue, without the frame that is being sent */
    int64_t opportunities; /* of the trace, which arrives as a file of int64 ns; 0: no trace */
    int64_t trace;        /* its id. A change that keeps the id continues the trace where it is */
    int64_t cut;          /* not 0: every frame is lost */
    float quantiles[QUANTILES]; /* of the jitter's distribution: mean 0, standard deviation 1 */
};

struct frame {
    struct frame *next;
    int64_t accepted; /* valid in `waiting` */
    int64_t due;      /* valid in `line` and `express` */
    size_t size;
    unsigned char bytes[];
};

struct list {
    struct frame *head, *tail;
};

/* A position in a trace: the opportunity, and the bytes of it that are used. */
struct place {
    int64_t opportunity;
    size_t used;
};

struct wire {
    struct properties is;
    struct list waiting, line, express;
    int64_t frames, bytes; /* in `waiting` */
    int64_t free;          /* when the last frame finished departing */
    int64_t last_due;      /* of the last frame that entered `line` */
    uint64_t random;       /* the generator's state */
    bool bad;              /* the Gilbert–Elliott model's state */
    double drift;          /* the last normal deviate of correlated jitter */
    int64_t *times;        /* the trace's opportunities, or NULL */
    int64_t began;         /* when the trace began */
    struct place place;    /* of the wire in its trace */
};

/* A wire without delay, loss or queue, until wire_shape gives it properties. */
struct wire *wire_new(uint64_t seed);

/* A frame with a copy of `bytes`. The caller owns it. */
struct frame *frame_of(const void *bytes, size_t size);

/* Change a wire's properties at `time`. `times` are the opportunities of its trace, which are copied, or NULL. */
void wire_shape(struct wire *wire, const struct properties *is, const int64_t *times, int64_t time);

/* Queue a frame, or drop it where the queue is full. The wire owns it. `time` never decreases from call to call. */
void wire_accept(struct wire *wire, struct frame *frame, int64_t time);

/* The next frame that has arrived by `time`, or NULL. The caller owns it. */
struct frame *wire_arrived(struct wire *wire, int64_t time);

/* When to call wire_arrived next; NEVER if the wire is empty. */
int64_t wire_next_event(const struct wire *wire);

#endif
