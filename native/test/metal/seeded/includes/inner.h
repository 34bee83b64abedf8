#pragma once
constant constexpr uint INNER = 1;
