// The core's one exception type: a message of one line that says what is wrong and, where possible, what to do.
#pragma once

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace hearth {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The device of a backend has failed, for instance because a GPU ran out of memory. The step's cache is lost; another
/// backend can still compute.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// The file of a model was cut or overwritten while it was in use. What was computed meanwhile is worthless, and the
/// model must be closed.
class FileChangedError : public Error {
 public:
  using Error::Error;
};

/// Throws Error with a printf-formatted message.
[[noreturn]]
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
inline void fail(const char* format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  std::string text(static_cast<size_t>(std::max(0, std::vsnprintf(nullptr, 0, format, args))), '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  va_end(args);
  throw Error(text);
}

/// Makes text from an untrusted file fit for a one-line message: replaces control characters and cuts long text.
inline std::string printable(std::string_view text) {
  std::string out;
  for (unsigned char c : text.substr(0, 80)) out += c < 32 || c == 127 ? '?' : static_cast<char>(c);
  if (text.size() > 80) out += "…";
  return out;
}

}  // namespace hearth
