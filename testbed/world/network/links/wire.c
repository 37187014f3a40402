#include "wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void append(struct list *list, struct frame *frame)
{
    frame->next = NULL;
    *(list->head ? &list->tail->next : &list->head) = frame;
    list->tail = frame;
}

static struct frame *take(struct list *list)
{
    struct frame *frame = list->head;
    list->head = frame->next;
    return frame;
}

struct frame *frame_of(const void *bytes, size_t size)
{
    struct frame *frame = malloc(sizeof *frame + size);
    if (!frame)
        abort();
    frame->size = size;
    memcpy(frame->bytes, bytes, size);
    return frame;
}

/* ------------------------------------------------------------------------------------------------------------ chance */

/* SplitMix64: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014. */
static uint64_t draw(struct wire *wire)
{
    uint64_t z = wire->random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static double uniform(struct wire *wire)
{
    return (draw(wire) >> 11) * 0x1p-53;
}

static bool happens(struct wire *wire, double probability)
{
    return probability > 0 && uniform(wire) < probability;
}

/* Whether the Gilbert–Elliott model loses a frame. Its state may change afterwards. */
static bool loses(struct wire *wire)
{
    const struct properties *is = &wire->is;
    if (is->cut)
        return true;
    bool lost = happens(wire, wire->bad ? is->in_bad : is->in_good);
    if (happens(wire, wire->bad ? is->to_good : is->to_bad))
        wire->bad = !wire->bad;
    return lost;
}

/* The difference of a frame's delay from the mean, in ns. Correlated delays start as a stationary first-order
 * autoregressive sequence of normal deviates (Box–Muller). Their quantiles then index the table of the distribution. */
static int64_t jitter(struct wire *wire)
{
    const struct properties *is = &wire->is;
    if (is->jitter == 0)
        return 0;
    double u = uniform(wire);
    if (is->correlation > 0) {
        double normal = sqrt(-2 * log(1 - u)) * cos(2 * M_PI * uniform(wire));
        wire->drift = is->correlation * wire->drift + sqrt(1 - is->correlation * is->correlation) * normal;
        u = erfc(-wire->drift / M_SQRT2) / 2;
    }
    size_t step = u * QUANTILES;
    return is->jitter * is->quantiles[step < QUANTILES ? step : QUANTILES - 1];
}

/* ------------------------------------------------------------------------------------------------------ transmission */

static int64_t opportunity_time(const struct wire *wire, int64_t number)
{
    int64_t count = wire->is.opportunities, period = wire->times[count - 1];
    return wire->began + number / count * period + wire->times[number % count];
}

/* The first opportunity from `number` on that is at `since` or later. */
static int64_t opportunity_since(const struct wire *wire, int64_t number, int64_t since)
{
    int64_t count = wire->is.opportunities, period = wire->times[count - 1];
    int64_t cycle = since > wire->began ? (since - wire->began) / period : 0;
    int64_t low = (cycle > 0 ? cycle - 1 : 0) * count, high = (cycle + 2) * count;
    low = low > number ? low : number;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (opportunity_time(wire, middle) < since)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The place of a wire with a trace after its first waiting frame. */
static struct place place_after(const struct wire *wire)
{
    const struct frame *frame = wire->waiting.head;
    int64_t first = opportunity_since(wire, wire->place.opportunity, frame->accepted);
    struct place place = {first, first == wire->place.opportunity ? wire->place.used : 0};
    size_t left = frame->size;
    while (left > FULL_FRAME - place.used) {
        left -= FULL_FRAME - place.used;
        place = (struct place){place.opportunity + 1, 0};
    }
    place.used += left;
    return place;
}

/* When the first waiting frame will have been sent. */
static int64_t departure(const struct wire *wire)
{
    const struct frame *frame = wire->waiting.head;
    if (wire->times)
        return opportunity_time(wire, place_after(wire).opportunity);
    int64_t begin = frame->accepted > wire->free ? frame->accepted : wire->free;
    return begin + llround(frame->size * wire->is.ns_per_byte);
}

/* Decide the loss, corruption, delay and duplication of a frame that has been sent. */
static void launch(struct wire *wire, struct frame *frame, int64_t sent)
{
    if (loses(wire)) {
        free(frame);
        return;
    }
    if (happens(wire, wire->is.corrupt))
        frame->bytes[draw(wire) % frame->size] ^= 1 << draw(wire) % 8;
    if (happens(wire, wire->is.reorder)) {
        frame->due = sent;
        append(&wire->express, frame);
        return;
    }
    int64_t delay = wire->is.delay + jitter(wire);
    int64_t due = sent + (delay > 0 ? delay : 0);
    frame->due = wire->last_due = due > wire->last_due ? due : wire->last_due;
    append(&wire->line, frame);
    if (happens(wire, wire->is.duplicate)) {
        struct frame *copy = frame_of(frame->bytes, frame->size);
        copy->due = frame->due;
        append(&wire->line, copy);
    }
}

/* Launch every frame that has been sent by `time`. */
static void depart(struct wire *wire, int64_t time)
{
    while (wire->waiting.head) {
        int64_t sent = departure(wire);
        if (sent > time)
            return;
        if (wire->times)
            wire->place = place_after(wire);
        struct frame *frame = take(&wire->waiting);
        wire->frames--;
        wire->bytes -= frame->size;
        wire->free = sent;
        launch(wire, frame, sent);
    }
}

static bool has_room(const struct wire *wire, int64_t time, size_t size)
{
    const struct frame *first = wire->waiting.head;
    bool sending = first && first->accepted <= time && wire->free <= time;
    int64_t frames = wire->frames - sending, bytes = wire->bytes - (sending ? (int64_t)first->size : 0);
    return !first || (frames < wire->is.queue_frames && bytes + (int64_t)size <= wire->is.queue_bytes);
}

void wire_accept(struct wire *wire, struct frame *frame, int64_t time)
{
    depart(wire, time);
    if (!has_room(wire, time, frame->size)) {
        free(frame);
        return;
    }
    frame->accepted = time;
    append(&wire->waiting, frame);
    wire->frames++;
    wire->bytes += frame->size;
    depart(wire, time); /* without a limit of the rate the frame departs at once */
}

struct frame *wire_arrived(struct wire *wire, int64_t time)
{
    depart(wire, time);
    if (wire->express.head && wire->express.head->due <= time)
        return take(&wire->express);
    if (wire->line.head && wire->line.head->due <= time)
        return take(&wire->line);
    return NULL;
}

/* A waiting frame is due when it departs, because its delay is decided then. Where all frames have the same delay, it is
 * due when it arrives, which spares a wake-up. */
int64_t wire_next_event(const struct wire *wire)
{
    int64_t event = NEVER;
    if (wire->waiting.head) {
        bool same_for_all = wire->is.jitter == 0 && wire->is.reorder == 0;
        event = departure(wire) + (same_for_all ? wire->is.delay : 0);
    }
    if (wire->line.head && wire->line.head->due < event)
        event = wire->line.head->due;
    if (wire->express.head && wire->express.head->due < event)
        event = wire->express.head->due;
    return event;
}

/* Send the rest of the frame that is being sent at a new rate. */
static void change_rate(struct wire *wire, double ns_per_byte, int64_t time)
{
    struct frame *first = wire->waiting.head;
    int64_t begin = first->accepted > wire->free ? first->accepted : wire->free;
    double bytes_sent = begin < time ? (time - begin) / wire->is.ns_per_byte : 0;
    first->accepted = wire->free = time - llround(bytes_sent * ns_per_byte);
}

struct wire *wire_new(uint64_t seed)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        abort();
    wire->random = seed;
    return wire;
}

/* Begin another trace at `time`, unless it has the same id. */
static void change_trace(struct wire *wire, const struct properties *is, const int64_t *times, int64_t time)
{
    if (wire->times && times && is->trace == wire->is.trace)
        return;
    free(wire->times);
    wire->times = NULL;
    wire->began = time;
    wire->place = (struct place){0, 0};
    if (times) {
        size_t size = is->opportunities * sizeof *times;
        if (!(wire->times = malloc(size)))
            abort();
        memcpy(wire->times, times, size);
    }
}

void wire_shape(struct wire *wire, const struct properties *is, const int64_t *times, int64_t time)
{
    depart(wire, time);
    if (wire->times)
        wire->free = time;
    else if (wire->waiting.head)
        change_rate(wire, is->ns_per_byte, time);
    change_trace(wire, is, times, time);
    wire->is = *is;
    wire->bad &= is->to_bad > 0;
}
