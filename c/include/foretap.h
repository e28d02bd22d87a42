/*
 * foretap predicts which app a person opens next, on the phone, before the tap.
 *
 * Open a bundle, restore the person, observe what happens on the phone, ask, save: example.c shows it in a page, README.md
 * says the rules.
 * Every function that can fail returns a foretap_status; foretap_last_error() then says what to do. Text is UTF-8 and
 * ends with a zero byte; times are seconds since 1970-01-01T00:00:00Z.
 */

#ifndef FORETAP_H
#define FORETAP_H

/* Made by cbindgen from src: see tests/header.rs. Changes belong there. */

#include <stddef.h>
#include <stdint.h>

// Bytes of an app's name at most, its terminating zero included. Android's package names have 223.
#define FORETAP_APP_BYTES 256

// Candidates that can be asked for at once: as many apps as a history remembers.
#define FORETAP_MAX_CANDIDATES 4096

// Apps that a suggestion has at most.
#define FORETAP_MAX_SHOWN 8

// Bytes of a key, for AES-256-GCM.
#define FORETAP_KEY_BYTES 32

// What came of a call. After anything but `FORETAP_STATUS_OK`, foretap_last_error() tells more, and the call has
// changed nothing, but for the results: `*handle` is NULL then, and `*count` and `*length` are 0 unless said otherwise.
typedef enum {
  // All went well.
  FORETAP_STATUS_OK = 0,
  // A pointer that must not be NULL is.
  FORETAP_STATUS_NULL = 1,
  // A text is not UTF-8.
  FORETAP_STATUS_NOT_UTF8 = 2,
  // A number, or the length of a text, is beyond its limits; or a text is missing or cannot be read as what it should
  // be.
  FORETAP_STATUS_INVALID = 3,
  // An event, or a question, is earlier than the last event.
  FORETAP_STATUS_OUT_OF_ORDER = 4,
  // There have been too many different apps for this handle: it takes no new ones, but goes on with those that it
  // knows.
  FORETAP_STATUS_TOO_MANY_APPS = 5,
  // The file cannot be read or written.
  FORETAP_STATUS_IO = 6,
  // The bytes are no bundle, or damaged, or of a version that this build does not read.
  FORETAP_STATUS_BUNDLE = 7,
  // A bug in foretap; the app goes on. The handle, where there was one, answers nothing more: close it.
  FORETAP_STATUS_BROKEN = 8,
  // The bytes are no saved person, or damaged, or of a version that this build does not read, or sealed under another
  // key or none.
  FORETAP_STATUS_PERSON = 9,
  // foretap_learn() was stopped, or ran out of time.
  FORETAP_STATUS_CANCELLED = 10,
  // This library was built without what the call needs.
  FORETAP_STATUS_NOT_BUILT = 11,
  // The machine has no room or no threads for it.
  FORETAP_STATUS_DEVICE = 12,
} foretap_status;

// What happened.
typedef enum {
  // An app came to the foreground.
  FORETAP_SIGNAL_LAUNCH = 1,
  // An app left the foreground.
  FORETAP_SIGNAL_CLOSE = 2,
  // An app posted a notification.
  FORETAP_SIGNAL_NOTIFICATION = 3,
  // The phone was unlocked.
  FORETAP_SIGNAL_UNLOCK = 4,
  // The screen lit up, locked; or was locked again while lit.
  FORETAP_SIGNAL_SCREEN_ON = 5,
  // The screen went dark.
  FORETAP_SIGNAL_SCREEN_OFF = 6,
} foretap_signal;

// Whether a charger is connected.
typedef enum {
  // It is not known.
  FORETAP_CHARGING_UNKNOWN = 0,
  // None is.
  FORETAP_CHARGING_NO = 1,
  // One is.
  FORETAP_CHARGING_YES = 2,
} foretap_charging;

// How the phone is connected.
typedef enum {
  // It is not known.
  FORETAP_NETWORK_UNKNOWN = 0,
  // Not connected.
  FORETAP_NETWORK_OFFLINE = 1,
  // A wireless local network.
  FORETAP_NETWORK_WIFI = 2,
  // A mobile network.
  FORETAP_NETWORK_CELLULAR = 3,
} foretap_network;

// What became of foretap_learn().
typedef enum {
  // Fewer than 100 questions are kept, of which one may learn: nothing was learned.
  FORETAP_LEARN_OUTCOME_TOO_FEW_QUESTIONS = 0,
  // Nothing was better on the later questions than what the bundle knows: it answers as before.
  FORETAP_LEARN_OUTCOME_NO_BETTER = 1,
  // What was learned before is better on the questions since: it stays.
  FORETAP_LEARN_OUTCOME_KEPT = 2,
  // What was learned now answers with the bundle from now on.
  FORETAP_LEARN_OUTCOME_LEARNED = 3,
} foretap_learn_outcome;

// An open bundle with the past of one phone's user.
typedef struct foretap_handle foretap_handle;

// One thing that the phone noticed. What is left zero is not known; time and signal must be.
typedef struct {
  // When, not earlier than the event before.
  int64_t at_utc_secs;
  // Local time minus UTC at that moment, in seconds: habits follow the clock on the wall.
  int32_t utc_offset_secs;
  // What: one of foretap_signal.
  int32_t signal;
  // Which app, of FORETAP_SIGNAL_LAUNCH, _CLOSE and _NOTIFICATION, by a name that stays the same, such as its package's.
  // Of other signals it is not read.
  const char *app;
  // Where, or NULL: a geohash of one to five characters, thus no finer than a city; or `a` and seven characters of a
  // geohash's alphabet, made up for a place that is not to be shared.
  const char *place;
  // Charge of the battery, 1 to 100; 0 where it is not known.
  int32_t battery_percent;
  // One of foretap_charging.
  int32_t charging;
  // One of foretap_network.
  int32_t network;
} foretap_event;

// An app that may be opened next.
typedef struct {
  // Its name, as events or the bundle gave it.
  char app[FORETAP_APP_BYTES];
  // How probable it is that it is opened next, 0 to 1, calibrated where the bundle was.
  double probability;
} foretap_candidate;

// What to show of an answer.
typedef struct {
  // Its number, for foretap_feedback(); UINT64_MAX where nothing is to be shown. Numbers begin at 0 when a bundle is opened
  // and when a person is forgotten, and go on when one is restored.
  uint64_t id;
  // How many apps to show. 0: none, because the answer is not sure enough; there is no feedback then.
  size_t count;
  // The first `count` are the apps, in the order in which they are shown.
  foretap_candidate apps[FORETAP_MAX_SHOWN];
  // How probable it was that each of them was shown, given the answer; below 1 with exploration alone. Keep it with the
  // feedback if models are to learn from it.
  float propensities[FORETAP_MAX_SHOWN];
  // Whether the last place went to an alternative, by exploration: 1 or 0.
  int32_t explores;
  // Probability that one of the most probable apps, as many as are to be shown, is opened: what was compared with
  // `least_probability`.
  double confidence;
} foretap_suggestion;

// What foretap_learn() found.
typedef struct {
  // One of foretap_learn_outcome.
  int32_t outcome;
  // Questions that were learned from.
  size_t questions;
  // Mean log loss, in nats, of the last fifth of them by the bundle and what it has adapted; NaN with too few questions.
  double log_loss_before;
  // The same with what was learned from the questions before that fifth.
  double log_loss_after;
} foretap_learning;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Opens the bundle in a file. `*handle` is then one to observe and ask with, and to close in the end; if this fails, NULL.
//
// Opening checks every byte and asks the bundle's own test questions: some milliseconds, so not where frames are drawn.
// The handle knows nobody yet: foretap_restore() brings back the person of an earlier one.
//
// # Safety
// `path` is text that ends with a zero byte, `*handle` can be written.
foretap_status foretap_open(const char *path,
                            foretap_handle **handle);

// Opens the bundle in `length` bytes at `bytes`, which are not needed afterwards: an asset of an app, say. Otherwise as
// foretap_open().
//
// # Safety
// `length` bytes can be read at `bytes`, `*handle` can be written.
foretap_status foretap_open_bytes(const uint8_t *bytes,
                                  size_t length,
                                  foretap_handle **handle);

// Folds in what happened on the phone: every event once, in the order of time. Nothing of `event` is needed afterwards.
//
// Takes microseconds. An event that is refused is left out, and others can follow.
//
// # Safety
// `handle` is open, `event` can be read, and its `app` and `place` are NULL or text that ends with a zero byte.
foretap_status foretap_observe(foretap_handle *handle,
                               const foretap_event *event);

// Computes what the next question will need of the events so far, so that its answer takes less time: worth a call when
// the screen has gone dark. Answers are the same without it.
//
// # Safety
// `handle` is open.
foretap_status foretap_prefill(foretap_handle *handle);

// Ranks the apps that may be opened next, after what was observed until `now_utc_secs`: at an unlock, observe it and ask
// at its time.
//
// The first `*count` of the `k` `candidates` are then filled, the most probable app first: fewer than `k` where fewer
// apps are known. `*none_of_these`, which may be NULL, is the probability of an app that this user has not opened yet;
// what is missing to 1 is that of the user's other apps. What to show of it, foretap_suggest() decides.
//
// # Safety
// `handle` is open; `k` candidates and `*count` can be written, and `*none_of_these` if it is not NULL.
foretap_status foretap_ask(foretap_handle *handle,
                           int64_t now_utc_secs,
                           size_t k,
                           foretap_candidate *candidates,
                           size_t *count,
                           double *none_of_these);

// What to show of the answer to the question just asked, and nothing where it is not sure enough: `count` is 0 then.
// No event may come between the question and this.
//
// # Safety
// `handle` is open, `suggestion` can be written.
foretap_status foretap_suggest(foretap_handle *handle,
                               foretap_suggestion *suggestion);

// Sets what foretap_suggest() shows: 1 to FORETAP_MAX_SHOWN apps at once, where one of them is opened with at least
// `least_probability`, 0 to 1; and in a share `exploration` of the suggestions, 0 to 0.2, an alternative in the last
// place, so that later learning can tell what is opened because it was shown. Without this call: 3, 0.5 and 0. It is a
// setting of the handle, and not saved.
//
// # Safety
// `handle` is open.
foretap_status foretap_show_by(foretap_handle *handle,
                               size_t shown,
                               double least_probability,
                               double exploration);

// Tells what became of the suggestion `id`: `taken` is the app of it that was opened, or NULL if it was seen and none of
// it was. Apps that were shown and not taken are suggested less. What was opened is learned from its launch, which is to
// be observed in any case. Each of the last 16 suggestions takes feedback once.
//
// # Safety
// `handle` is open, `taken` is NULL or text that ends with a zero byte.
foretap_status foretap_feedback(foretap_handle *handle,
                                uint64_t id,
                                const char *taken);

// Writes the person, that is all that was observed and learned, to the file at `path`: whole or not at all, so that a
// kill or a full disk leaves the old file as it was. A new file is private to its owner. Save when the screen has gone
// dark: a question that waits for its answer, and suggestions that wait for feedback, are not kept.
//
// With a `key` of FORETAP_KEY_BYTES bytes, from the phone's own key store, it is sealed by AES-256-GCM; with NULL it is
// plain.
//
// # Safety
// `handle` is open, `path` is text that ends with a zero byte, `key` is NULL or so many bytes can be read there.
foretap_status foretap_save(foretap_handle *handle,
                            const char *path,
                            const uint8_t *key);

// The same into memory: `*length` bytes at `bytes`, where there is room for `room`. If that is too little,
// FORETAP_STATUS_INVALID, nothing is written, and `*length` is what it takes.
//
// # Safety
// `handle` is open; `room` bytes can be written at `bytes`, which may be NULL if `room` is 0, and `*length`; `key` is as
// foretap_save() wants it.
foretap_status foretap_save_bytes(foretap_handle *handle,
                                  const uint8_t *key,
                                  size_t room,
                                  uint8_t *bytes,
                                  size_t *length);

// Goes on with the person that foretap_save() wrote to the file at `path`, under the same `key`: answers are those that
// the handle which saved it would have given. What this handle has observed is forgotten. If it fails, nothing has
// changed.
//
// Any bundle takes any person. Then observe what happened since foretap_last_event().
//
// # Safety
// As for foretap_save().
foretap_status foretap_restore(foretap_handle *handle,
                               const char *path,
                               const uint8_t *key);

// The same from `length` bytes at `bytes`.
//
// # Safety
// `handle` is open, `length` bytes can be read at `bytes`, `key` is as foretap_save() wants it.
foretap_status foretap_restore_bytes(foretap_handle *handle,
                                     const uint8_t *key,
                                     size_t length,
                                     const uint8_t *bytes);

// Keeps the last `most` events from now on, at most 1,048,576, for foretap_learn() to learn from; 20,000 are a month or
// two. 0 keeps none any more. What was kept before is forgotten: call it once for a new person, since what is saved and
// restored goes on keeping as many. An event takes 48 bytes in memory, at once, and about 10 in a file.
//
// # Safety
// `handle` is open.
foretap_status foretap_keep_events(foretap_handle *handle,
                                   size_t most);

// Learns from the events that are kept: trees of this person's own past, which answer with the bundle from then on, if they
// are better on later questions than the bundle alone. Call it on a thread of its own, when the phone is charged and not
// in use, such as once a night: it takes some seconds of one core and up to 60 MB. Other threads may observe and ask
// meanwhile. It ends early, and changes nothing, after `most_secs` seconds, unless that is 0, or when another thread calls
// foretap_stop_learning(): FORETAP_STATUS_CANCELLED. What was learned is saved with the person.
//
// # Safety
// `handle` is open until this returns, `*learning` can be written or is NULL.
foretap_status foretap_learn(foretap_handle *handle,
                             uint32_t most_secs,
                             foretap_learning *learning);

// Ends foretap_learn() on another thread within a second. Where nobody learns, nothing happens.
//
// # Safety
// `handle` is open.
foretap_status foretap_stop_learning(foretap_handle *handle);

// Forgets the person: the handle is as just opened, and knows nobody. Files that were saved are the caller's to delete.
//
// # Safety
// `handle` is open.
foretap_status foretap_forget(foretap_handle *handle);

// When the last event was observed, before a restart too: observe what happened after it. INT64_MIN if there is none.
//
// # Safety
// `handle` is open, `at_utc_secs` can be written.
foretap_status foretap_last_event(foretap_handle *handle,
                                  int64_t *at_utc_secs);

// Why answers are worse than they could be, such as "there is no transformer: the trees answer alone"; `*reason` is NULL
// where the bundle has everything. The text is valid until the handle is closed.
//
// # Safety
// `handle` is open, `*reason` can be written.
foretap_status foretap_degraded(foretap_handle *handle,
                                const char **reason);

// Ends `handle` and frees all that it holds. NULL is no mistake.
//
// # Safety
// `handle` is NULL, or open and in no other call; and not used afterwards.
void foretap_close(foretap_handle *handle);

// Why the last call that failed on this thread did, and what to do about it: a text in English, for logs. It is valid
// until the next call on this thread fails, and empty if none has failed yet.
const char *foretap_last_error(void);

// The version of this library, such as "0.1.0". It is valid forever.
const char *foretap_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FORETAP_H */
