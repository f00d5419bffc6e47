"""What two apps need: errors, wakes, money, HTTP manners, embedded servers. Knows no app's name."""
