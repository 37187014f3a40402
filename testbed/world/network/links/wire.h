/* A wire: one direction of a link, through which frames go in virtual time. It does no input or output of its own.
 *
 *   accept ─► waiting ── size ÷ bandwidth, or a recording's opportunities ──► line ── delay, jitter ──► arrived
 *             the queue         (departs)                                     express (reordered: no delay)
 *
 * The three lists are first in, first out, so that nothing is overtaken but by what goes express. A frame departs when
 * it has been sent, and then chance decides on it, by the properties that hold then: they change while frames wait.
 * Times are nanoseconds of CLOCK_MONOTONIC. userspace.py mirrors `struct properties`.
 */

#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FULL_FRAME 1514 /* bytes that an opportunity of a recording carries; FRAME in schema/network/trace.py */
#define QUANTILES 1024
#define NEVER INT64_MAX

/* What a wire is asked to be; probabilities from 0 to 1. */
struct properties {
    double ns_per_byte;   /* 0: as fast as the host */
    int64_t delay;        /* ns */
    double jitter;        /* ns, standard deviation */
    double correlation;   /* of the delays of one frame and the next */
    double to_bad, to_good, in_good, in_bad; /* Gilbert and Elliott's channel */
    double duplicate, reorder, corrupt;
    int64_t queue_frames, queue_bytes; /* that may wait, besides the frame that is being sent */
    int64_t opportunities; /* of a recording, which comes as a file of int64 ns; 0: there is none */
    int64_t recording;    /* its id: the same recording goes on where it was */
    int64_t cut;          /* not 0: every frame is lost */
    float quantiles[QUANTILES]; /* of the jitter's distribution: mean 0, deviation 1 */
};

struct frame {
    struct frame *next;
    int64_t accepted; /* while it waits */
    int64_t due;      /* once it is on its way */
    size_t size;
    unsigned char bytes[];
};

struct list {
    struct frame *head, *tail;
};

/* Where in its recording a wire is: at which opportunity, and how many bytes of that are used up. */
struct place {
    int64_t opportunity;
    size_t used;
};

struct wire {
    struct properties is;
    struct list waiting, line, express;
    int64_t frames, bytes; /* in `waiting` */
    int64_t free;          /* when the frame that departed last had been sent */
    int64_t last_due;      /* of the line */
    uint64_t random;
    bool bad;              /* the channel's state */
    double drift;          /* the jitter's last normal deviate, for its correlation */
    int64_t *times;        /* the recording's opportunities */
    int64_t began;         /* when the recording did */
    struct place place;    /* and where in it the wire is */
};

/* A wire whose chance is seeded. It loses nothing, delays nothing and has no room until it is shaped. */
struct wire *wire_new(uint64_t seed);

/* A frame with a copy of `bytes`, to be freed by whoever has it. */
struct frame *frame_of(const void *bytes, size_t size);

/* Change what a wire is; `times` are the opportunities of its recording, which are copied, or NULL. */
void wire_shape(struct wire *wire, const struct properties *is, const int64_t *times, int64_t time);

/* Let a frame in, which is the wire's from here on, at a time that never falls. */
void wire_accept(struct wire *wire, struct frame *frame, int64_t time);

/* A frame that has arrived by `time`, or NULL. It is the caller's. */
struct frame *wire_arrived(struct wire *wire, int64_t time);

/* When to ask for arrived frames next; NEVER if the wire is empty. */
int64_t wire_next_event(const struct wire *wire);

#endif
