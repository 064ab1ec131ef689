/* COPY's text on stdin becomes Redis commands on stdout: what one would write by hand for `redis-cli --pipe`.
 *
 *   encoder hash KEY FIELD...     a row: key, then as many values; those named *_at and *_date are timestamps
 *   encoder references OWNER      a row: owner, timestamp, number
 *   encoder activities            a row: owner, timestamp, number, type
 *
 * The peer of the ladder, and nothing else: no checkpoint, no rejects, and dates of the years 1 to 9999 only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 8, RUN = 512, DATE = 26 };

typedef struct { char *at; size_t size; int null; } Value;
typedef struct { char *at; size_t size, room; } Text;

static void add(Text *text, const void *bytes, size_t size) {
    if (text->size + size > text->room) {
        text->room = 2 * (text->size + size);
        if (!(text->at = realloc(text->at, text->room))) exit(1);
    }
    memcpy(text->at + text->size, bytes, size);
    text->size += size;
}

static void add_number(Text *text, char mark, long long number) {
    char digits[24], *at = digits + sizeof digits;
    long long rest = number < 0 ? -number : number;
    *--at = '\n', *--at = '\r';
    do *--at = '0' + rest % 10; while (rest /= 10);
    if (number < 0) *--at = '-';
    *--at = mark;
    add(text, at, digits + sizeof digits - at);
}

static void add_bulk(Text *text, const char *first, size_t size, const char *second, size_t more) {
    add_number(text, '$', size + more);
    add(text, first, size), add(text, second, more), add(text, "\r\n", 2);
}

/* Cut a line at its tabs and undo COPY's escapes in place. */
static int cut(char *line, Value *values) {
    int n = 0;
    for (char *from = line, *to;; from++) {
        Value *value = &values[n++];
        value->at = to = from;
        value->null = from[0] == '\\' && from[1] == 'N';
        for (; *from != '\t' && *from != '\n'; from++) {
            if (*from == '\\') {
                const char *found = strchr("b\bf\fn\nr\rt\tv\v", *++from);
                *to++ = found ? found[1] : *from;
            } else *to++ = *from;
        }
        value->size = to - value->at;
        if (*from == '\n' || n == COLUMNS) return n;
    }
}

/* "2026-11-22 10:00:00.5" becomes 26 characters of ISO 8601; the result is in microseconds since 1970. */
static long long date(const Value *value, char *iso) {
    memcpy(iso, "0000-00-00T00:00:00.000000", DATE);
    memcpy(iso, value->at, value->size);
    iso[10] = 'T';
    int d[DATE];
    for (int i = 0; i < DATE; i++) d[i] = iso[i] - '0';
    long long year = d[0] * 1000 + d[1] * 100 + d[2] * 10 + d[3], month = d[5] * 10 + d[6], day = d[8] * 10 + d[9];
    long long y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3; /* years from March on */
    long long days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
    long long seconds = days * 86400 + (d[11] * 10 + d[12]) * 3600 + (d[14] * 10 + d[15]) * 60 + d[17] * 10 + d[18];
    long long below = 0;
    for (int i = 20; i < DATE; i++) below = below * 10 + d[i];
    return seconds * 1000000 + below;
}

static int is_date(const char *field) {
    size_t size = strlen(field);
    return (size > 3 && !strcmp(field + size - 3, "_at")) || (size > 5 && !strcmp(field + size - 5, "_date"));
}

static void hash(Text *out, const Value *row, const char *key, char **fields, int n) {
    int words = 2;
    char iso[DATE];
    for (int i = 0; i < n; i++) words += 2 * !row[i + 1].null;
    add_number(out, '*', words);
    add(out, "$4\r\nHSET\r\n", 10);
    add_bulk(out, key, strlen(key), row->at, row->size);
    for (int i = 0; i < n; i++) {
        const Value *value = &row[i + 1];
        if (value->null) continue;
        add_bulk(out, fields[i], strlen(fields[i]), "", 0);
        if (is_date(fields[i])) date(value, iso), add_bulk(out, iso, DATE, "", 0);
        else add_bulk(out, value->at, value->size, "", 0);
    }
}

/* One command for the rows of an owner gathered so far. */
static void flush(Text *out, Text *items, int rows, int words, const char *command, const char *kind,
                  const Text *owner, const char *name) {
    if (!rows) return;
    char key[96];
    int size = snprintf(key, sizeof key, "%s:%.*s:%s", kind, (int)owner->size, owner->at, name);
    add_number(out, '*', 2 + words * rows);
    add_bulk(out, command, strlen(command), "", 0);
    add_bulk(out, key, size, "", 0);
    add(out, items->at, items->size);
    items->size = 0;
}

int main(int count, char **words) {
    Text out = {0}, list = {0}, set = {0}, owner = {0};
    Value row[COLUMNS];
    char *line = NULL, iso[DATE], score[24];
    size_t room = 0;
    int rows = 0, activities = !strcmp(words[1], "activities");
    const char *kind = activities ? "user" : words[2];
    for (;;) {
        int more = getline(&line, &room, stdin) > 0;
        if (more) cut(line, row);
        if (*words[1] == 'h') {
            if (more) hash(&out, row, words[2], words + 3, count - 3);
        } else {
            int same = more && rows && row->size == owner.size && !memcmp(row->at, owner.at, owner.size);
            if (!same || rows == RUN) {
                flush(&out, &list, activities ? rows : 0, 1, "RPUSH", kind, &owner, "activities");
                flush(&out, &set, rows, 2, "ZADD", kind, &owner, activities ? "activities:by_time" : "orders");
                rows = 0, owner.size = 0;
                if (more) add(&owner, row->at, row->size);
            }
            if (more) {
                int size = snprintf(score, sizeof score, "%lld", date(&row[1], iso));
                add_bulk(&set, score, size, "", 0);
                if (activities) {
                    add_number(&list, '$', row[3].size + 1 + DATE);
                    add(&list, row[3].at, row[3].size), add(&list, ":", 1), add(&list, iso, DATE), add(&list, "\r\n", 2);
                    add_number(&set, '$', row[2].size + 1 + row[3].size);
                    add(&set, row[2].at, row[2].size), add(&set, ":", 1), add(&set, row[3].at, row[3].size);
                    add(&set, "\r\n", 2);
                } else add_bulk(&set, row[2].at, row[2].size, "", 0);
                rows++;
            }
        }
        if (!more || out.size > 1 << 16) {
            if (fwrite(out.at, 1, out.size, stdout) < out.size) return 1;
            out.size = 0;
        }
        if (!more) return fflush(stdout) != 0;
    }
}
