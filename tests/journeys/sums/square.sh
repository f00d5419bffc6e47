echo "unit $1 begins"
sleep 0.1
echo $(($1 * $1)) > square.txt
