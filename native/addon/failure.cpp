#include "failure.h"

#include <new>
#include <system_error>

#include "../core/error.h"

namespace hearth {

namespace {

Napi::Error with_code(Napi::Env env, const char* message, const char* code) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

}  // namespace

Napi::Error error_of(Napi::Env env, const std::exception_ptr& failure, const std::string& subject) {
  const auto of_subject = [&](const std::string& what) { return Napi::Error::New(env, subject + ": " + what); };
  try {
    std::rethrow_exception(failure);
  } catch (const Napi::Error& error) { return error; } catch (const DeviceError& error) {
    return with_code(env, error.what(), "HEARTH_DEVICE_FAILED");
  } catch (const FileChangedError& error) {
    return with_code(env, error.what(), "HEARTH_FILE_CHANGED");
  } catch (const Error& error) { return Napi::Error::New(env, error.what()); } catch (const std::bad_alloc&) {
    return of_subject("there is not enough memory; close other programs or choose a smaller model or context");
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::resource_unavailable_try_again)
      return of_subject("the system starts no more threads; close other programs or raise its limit (ulimit -u)");
    return of_subject(error.what());
  } catch (const std::exception& error) { return of_subject(error.what()); } catch (...) {
    return of_subject("it failed for no known reason");
  }
}

}  // namespace hearth
